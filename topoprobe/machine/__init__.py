"""What is wired where: facts from sources joined to one graph, path classes, routes, drawings.

Everything here is pure. `facts` is what a source yields, `building` joins facts into a machine
document, `view` answers questions about one, `drawing` and `matrix` show it to people. The sources
themselves, which read files and drivers, are in `topoprobe.machine.sources`.
"""
