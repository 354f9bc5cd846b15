"""The commands of ``vprtrain``, one function in one module each; what is slow to import, each imports itself."""
