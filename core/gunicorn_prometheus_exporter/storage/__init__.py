"""Where samples are kept: cells in shared memory, one arena of them per slot and kind of metric."""
