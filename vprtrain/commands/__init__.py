"""The commands of ``vprtrain``, a function each; what is slow to import, each imports itself."""
