"""What the datasets/prepare_*.py scripts share: from the archives of a data set to the files that training reads.

Everything is written to a temporary name and renamed, and what is there is left as it is: a script that was
interrupted goes on where it was, and one that has finished has nothing to do.
"""
