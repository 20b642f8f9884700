# METADATA
# title: Token stream from a compute pool
# description: >-
#   A language model of a compute pool answers in a stream of events, /POOL/MODEL. What a client may take is its allotment:
#   so many bytes a second, for so long; while the stream runs the allotment is looked at again.
# schemas:
#   - input: schema.input
package agency.token_stream

# METADATA
# title: Is it an exchange of this class?
applies if input.agreement.class == "tokens"

# METADATA
# title: Pool that the path names
pool := data.token_stream.pools[name] if {
	["", name, model] = split(input.request.path, "/")
	model in data.token_stream.pools[name].models
}

# METADATA
# title: What this client may take of it
allotment := pool.allotments[input.request.client]

# METADATA
# title: What is not as it must be
refusals contains "tokens.model_unknown" if {
	applies
	not pool
}

refusals contains "tokens.not_allotted" if {
	applies
	pool
	not allotment
}

refusals contains "tokens.prompt_too_long" if {
	applies
	allotment
	input.request.content_length > allotment.max_request_bytes
}

refusals contains "tokens.rate_exceeded" if {
	applies
	allotment
	not unhurried
}

# METADATA
# title: Is the caller within a multiple of its own norm?
# description: >-
#   null: nobody knows the norm yet; what one stream may take is bounded all the same.
unhurried if input.signals.rate_percent == null

unhurried if {
	is_number(input.signals.rate_percent)
	input.signals.rate_percent <= allotment.max_rate_percent
}

# METADATA
# title: Rate and time of one stream
duties[name] := allotment[name] if {
	applies
	some name in ["max_bytes_per_second", "max_request_bytes", "max_seconds", "recheck_seconds"]
}
