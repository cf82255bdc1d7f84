import sys
from pathlib import Path

# pytest's importlib mode leaves the folders of tests off the path; `inner_heads` is shared by the tests here.
sys.path.append(str(Path(__file__).parent))
