//! Nothing: the comparison is a bench.
