"""Vile values for every argument of every public function, and vile contents for every file format.

`values` has the values, `doors` finds the functions and knows good arguments for them, `formats` the files; `cases`
puts them together, `worker` tries them in a process of its own, and `trial` follows such processes.
"""
