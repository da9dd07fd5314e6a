import sys

from benchmarks.benchmark import main

sys.exit(main(sys.argv[1:]))
