"""What is kept: runs and measurements, the store of saved runs, the environment they were taken in."""
