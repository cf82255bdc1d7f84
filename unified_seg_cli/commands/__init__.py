"""The options of each tool."""
