package messages_111_test

import data.troad.admission_test
import data.troad.exchange

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

sender := changed(admission_test.at_consumer, {
	"/agreement/class": "messages",
	"/agreement/methods": ["*"],
	"/agreement/paths": ["**"],
	"/request/method": "POST",
	"/request/path": "/welfare/0912345678",
	"/request/content_length": 70,
})

test_allows if {
	result := verdict(sender)
	result.allow == true
	result.obligations == {"extra_logging": true, "max_request_bytes": 1024}
	verdict(changed(sender, {"/request/content_length": 1024})).allow == true
	verdict(changed(sender, {"/signals/refusals": 20})).allow == true
}

refusals := [
	[{"/request/path": "/health/0912345678"}, "messages.sender_foreign"],
	[{"/request/path": "/nobody/0912345678"}, "messages.sender_foreign"],
	[{"/request/path": "/welfare/091234567"}, "messages.recipient_malformed"],
	[{"/request/path": "/welfare/09123456789"}, "messages.recipient_malformed"],
	[{"/request/path": "/welfare/0212345678"}, "messages.recipient_malformed"],
	[{"/request/path": "/welfare/+886912345"}, "messages.recipient_malformed"],
	[{"/request/path": "/welfare/09１2345678"}, "messages.recipient_malformed"],
	[{"/request/path": "/welfare/0912-34567"}, "messages.recipient_malformed"],
	[{"/request/content_length": 1025}, "messages.text_too_long"],
	[{"/request/content_length": null}, "messages.text_too_long"],
	[{"/signals/refusals": 21}, "messages.recipients_scanned"],
]

test_refuses if {
	every refusal in refusals {
		result := verdict(changed(sender, refusal[0]))
		result.allow == false
		result.reasons == [refusal[1]]
	}
}

test_refuses_other_paths if {
	every path in ["/welfare", "/welfare/0912345678/x"] {
		result := verdict(changed(sender, {"/request/path": path}))
		result.reasons == ["messages.recipient_malformed", "messages.sender_foreign"]
	}
}

test_other_classes_are_left_alone if {
	every refusal in refusals {
		verdict(changed(changed(sender, {"/agreement/class": "general"}), refusal[0])).allow == true
	}
}
