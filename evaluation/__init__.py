"""How often the suite's verdicts are wrong, measured: false alarms and power, on real and simulated data."""
