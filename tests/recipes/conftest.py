from recipe_cli import command, command_into, corpus, recipe, run_py  # noqa: F401 - fixtures
