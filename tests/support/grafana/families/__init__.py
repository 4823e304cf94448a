# GNU General Public License v3.0+ (see LICENSE)
"""One module a family of routes. Each has a table `routes`; `app.load_routes` finds the modules by themselves."""
