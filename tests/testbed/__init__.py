# GNU General Public License v3.0+ (see LICENSE)
"""A testbed of real components for the collection, see README.md."""
