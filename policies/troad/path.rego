# METADATA
# title: Paths and path patterns
# description: >-
#   A path is what follows the service code in the request target, raw: percent signs are never decoded, here or later,
#   and bytes are compared. A pattern is made of whole segments: `*` is one segment with something in it; `**` stands last
#   and is any rest, the empty one included, of what follows its slash (`/a/**` covers `/a/` and `/a/b/c`, not `/a`);
#   `**` alone covers everything. Anything else with a star in it (`/v*`, `/**/x`) covers nothing.
package troad.path

# METADATA
# title: Pieces that somebody could read in another way
# description: >-
#   A service that decodes, or resolves dots, could read these as another path than the one agreed on. The gateway refuses
#   such targets before it asks; a policy that relied on that would be open the day it does not.
second_readings := {"//", "%2f", "%5c", "%3b", "%23", "%3f", "%00", "%252e", "%252f", "%255c", "\\", ";", "#", "?"}

# METADATA
# title: Segments that somebody could resolve
dot_segments := {".", "..", "%2e", "%2e%2e", ".%2e", "%2e."}

# METADATA
# title: Has this path one reading only?
plain("")

plain(path) if {
	startswith(path, "/")
	not ambiguous(path)
}

# METADATA
# title: Could somebody read this path in another way?
ambiguous(path) if {
	some piece in second_readings
	contains(lower(path), piece)
}

ambiguous(path) if {
	some segment in split(lower(path), "/")
	segment in dot_segments
}

# METADATA
# title: Does this pattern cover this path?
covers(pattern, path) if {
	wanted := split(pattern, "/")
	given := split(rooted(path), "/")
	count(given) == count(wanted)
	every i, segment in wanted { agrees(segment, given[i]) }
}

covers(pattern, path) if {
	wanted := split(pattern, "/")
	given := split(rooted(path), "/")
	last := count(wanted) - 1
	wanted[last] == "**"
	count(given) > last
	every i, segment in array.slice(wanted, 0, last) { agrees(segment, given[i]) }
}

# METADATA
# title: A path with its root
# description: >-
#   An empty path is the same resource as "/" (RFC 9110 §4.2.3).
rooted("") := "/"

rooted(path) := path if path != ""

# METADATA
# title: Does a segment of a pattern cover this one?
agrees("*", given) if given != ""

agrees(wanted, given) if {
	wanted == given
	not contains(wanted, "*")
}
