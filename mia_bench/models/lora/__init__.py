"""Low-rank adapters: files of every trainer read, added to weights, trained and saved.

matrices.py    what is added to one layer, and at which scale
keys.py        which layer and which matrix a key of a file means
conversion.py  other trainers' words for a transformer's layers
files.py       files and folders -> adapters by part and layer
fusion.py      adapters added to the weights of a network
training.py    adapters trained here
"""
