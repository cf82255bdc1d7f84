import sys
from pathlib import Path

# pytest's importlib mode leaves the folders of tests off the path; `edited_json` and `three_classes` are shared here.
sys.path.append(str(Path(__file__).parent))
