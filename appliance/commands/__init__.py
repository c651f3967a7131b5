"""The verbs of the command line: a file a verb, each handing out `command`. Only edges live here, no decisions."""
