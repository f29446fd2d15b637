"""Does the benchmark keep its statistical promises? Full forms; the tests run short ones."""
