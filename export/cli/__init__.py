"""The commands of the build box. PyTorch is imported when one runs, not before."""
