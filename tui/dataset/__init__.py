"""The builder's screens: the dataset card, its rows, what was left out, what is alike, and the review of redactions.

app.py            the application and the ways between its screens
browsed.py        the project as the screens see it; no Textual in it
tabs.py           which files can be browsed, and how a line of each is shown
line_list.py      a list that asks for the lines it draws and no others
"""
