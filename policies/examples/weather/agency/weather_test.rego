package weather_test

import data.troad.admission_test
import data.troad.exchange

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

reader := changed(admission_test.at_consumer, {
	"/agreement/class": "weather",
	"/agreement/methods": ["*"],
	"/agreement/paths": ["**"],
	"/request/path": "/observations/466920",
})

test_allows if {
	result := verdict(reader)
	result.allow == true
	result.obligations == {"max_response_bytes": 65536, "read_only": true}
	verdict(changed(reader, {"/request/method": "HEAD"})).allow == true
	verdict(changed(reader, {"/signals/rate_percent": null})).allow == true
	verdict(changed(reader, {"/signals/rate_percent": data.weather.max_rate_percent})).allow == true
}

refusals := [
	[{"/request/method": "POST"}, "weather.write_refused"],
	[{"/request/path": "/observations"}, "weather.product_unknown"],
	[{"/request/path": "/observations/4669201"}, "weather.product_unknown"],
	[{"/request/path": "/observations/466920/x"}, "weather.product_unknown"],
	[{"/request/path": "/horoscopes/466920"}, "weather.product_unknown"],
	[{"/signals/rate_percent": 1001}, "weather.rate_exceeded"],
]

test_refuses if {
	every refusal in refusals {
		result := verdict(changed(reader, refusal[0]))
		result.allow == false
		result.reasons == [refusal[1]]
	}
}

test_other_classes_are_left_alone if {
	every refusal in refusals {
		verdict(changed(changed(reader, {"/agreement/class": "general"}), refusal[0])).allow == true
	}
}
