"""The terminal UI: Textual lives here and nowhere else.

app.py        the application: which screen, how often to look at the device
screens/      Chat, Status, Updates, Help, and the small ones that ask something
widgets/      lines and boxes that screens share
messages.py   what threads tell screens; threads post, handlers change the screen
backend.py    what screens need of the product, and the real thing behind it
history.py    conversations in SQLite, with full-text search
"""
