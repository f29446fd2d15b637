from mia_bench.main import main

main()
