"""Watching a release at work: whether what it is asked, and what it answers, is still what it was made for.

evidence.py    sequential tests with a stated rate of false alarms; pure
sketch.py      which words and letters a set of prompts uses, in a few kilobytes; no text
signals.py     what is watched of a request: a few numbers
baseline.py    how these numbers are spread when all is well
monitor.py     baseline, tests and alarms of one release together; pure
state_file.py  the monitor on disk
watcher.py     the thread beside the gateway
telling.py     the same for people and for metrics
redteam/       attacks on the served release, run against run
corrections.py what operators said of answers
"""
