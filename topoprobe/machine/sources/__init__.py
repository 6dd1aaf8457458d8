"""Where facts come from: the live machine (sysfs, NVML) and recordings made by other tools.

`scan` is the way in; each other module here is one source and yields partial facts.
"""
