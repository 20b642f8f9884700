package token_stream_test

import data.troad.admission_test
import data.troad.exchange

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

client := changed(admission_test.at_consumer, {
	"/agreement/class": "tokens",
	"/agreement/methods": ["*"],
	"/agreement/paths": ["**"],
	"/request/method": "POST",
	"/request/path": "/taiwania/taide-8b",
	"/request/content_length": 200,
})

test_allows if {
	result := verdict(client)
	result.allow == true
	result.obligations == {
		"max_bytes_per_second": 65536,
		"max_request_bytes": 65536,
		"max_seconds": 120,
		"recheck_seconds": 15,
	}
	verdict(changed(client, {"/request/content_length": 65536})).allow == true
	verdict(changed(client, {"/request/content_length": null})).allow == true
	verdict(changed(client, {"/signals/rate_percent": null})).allow == true
	verdict(changed(client, {"/signals/rate_percent": 500})).allow == true
}

refusals := [
	[{"/request/path": "/taiwania"}, "tokens.model_unknown"],
	[{"/request/path": "/taiwania/other-70b"}, "tokens.model_unknown"],
	[{"/request/path": "/nowhere/taide-8b"}, "tokens.model_unknown"],
	[{"/request/path": "/taiwania/taide-8b/x"}, "tokens.model_unknown"],
	[{"/request/path": "/research/taide-70b"}, "tokens.not_allotted"],
	[{"/request/content_length": 65537}, "tokens.prompt_too_long"],
	[{"/signals/rate_percent": 501}, "tokens.rate_exceeded"],
]

test_refuses if {
	every refusal in refusals {
		result := verdict(changed(client, refusal[0]))
		result.allow == false
		result.reasons == [refusal[1]]
	}
}

test_other_classes_are_left_alone if {
	every refusal in refusals {
		verdict(changed(changed(client, {"/agreement/class": "general"}), refusal[0])).allow == true
	}
}
