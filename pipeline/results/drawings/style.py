"""Colours, line styles and markers of all figures."""

# Okabe and Ito's colours; with the line styles they tell lines apart for colour-blind readers, too
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
