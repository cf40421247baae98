"""Where the package meets what it did not make: the files that users name, and the arguments that they give.

`reading` opens and reads files and folders, `arguments` checks types. The system's own errors end here.
"""
