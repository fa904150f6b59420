"""What touches the clock and the process: profiler, load, memory, awaitable benchmarks."""
