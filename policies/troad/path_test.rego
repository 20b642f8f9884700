package troad.path_test

import data.troad.path

# pattern, path, does the one cover the other
table := [
	["/", "", true],
	["/", "/", true],
	["/", "/a", false],
	["", "", false],
	["", "/", false],
	["/a", "/a", true],
	["/a", "/A", false],
	["/a", "/a/", false],
	["/a/", "/a/", true],
	["/a/", "/a", false],
	["/a", "/%61", false],
	["/%61", "/%61", true],
	["/a%20b", "/a b", false],
	["a", "/a", false],
	["/*", "/a", true],
	["/*", "/", false],
	["/*", "", false],
	["/*", "/a/b", false],
	["/*", "/*", true],
	["/a/*/c", "/a/b/c", true],
	["/a/*/c", "/a//c", false],
	["/a/*/c", "/a/b/d", false],
	["/a/*/c", "/a/b/b/c", false],
	["/**", "", true],
	["/**", "/", true],
	["/**", "/a/b/", true],
	["**", "", true],
	["**", "/a/b", true],
	["/a/**", "/a/b", true],
	["/a/**", "/a/b/c/", true],
	["/a/**", "/a/", true],
	["/a/**", "/a", false],
	["/a/**", "/ab", false],
	["/a/**", "/b/a/c", false],
	["/*/b/**", "/a/b/c", true],
	["/*/b/**", "/a/c/c", false],
	["/*/b/**", "//b/c", false],
	["*", "/", false],
	["*", "/a", false],
	["*", "", false],
	# A star that is not a whole segment covers nothing, not even itself.
	["/v*", "/v1", false],
	["/v*", "/v*", false],
	["/**/c", "/a/b/c", false],
	["/**/c", "/**/c", false],
	["/***", "/***", false],
	["/a**", "/ab/c", false],
	["/[a-z]", "/b", false],
	["/{a,b}", "/a", false],
	["/?", "/a", false],
]

test_covers if {
	every row in table {
		verdict(row[0], row[1]) == row[2]
	}
}

verdict(pattern, given) if path.covers(pattern, given)

else := false

test_plain if {
	every given in ["", "/", "/a", "/a/", "/a.b/c", "/a%2Eb/..c", "/...", "/%20", "/a%25b", "/~x/!$&'()*+,=:@-_"] {
		path.plain(given)
	}
}

test_not_plain if {
	every given in [
		"a", "*", "//", "/a//b", "/.", "/..", "/a/../b", "/a/./b", "/a/..", "/%2e%2E/b", "/.%2e/b", "/%2E./b", "/a/%2E", "/a%252Fb", "/%252e%252e/b", "/a%255cb", "/a%23b", "/a%3Fb", "/a%2fb", "/a%2Fb",
		"/a%5cb", "/a%5Cb", "/a\\b", "/a;b", "/a%3bb", "/a#b", "/a?b", "/a%00",
	] {
		not path.plain(given)
	}
}

test_not_plain_missing if {
	not path.plain(json.unmarshal("null"))
}

test_covers_nothing_but_strings if {
	every given in json.unmarshal(`[null, true, 1, [], {}]`) {
		not path.covers("**", given)
		not path.covers(given, "/")
	}
}
