"""The parts of results/report.html as plain values; report.html beside this file says how they look."""
