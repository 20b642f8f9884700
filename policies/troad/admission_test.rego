package troad.admission_test

import data.troad.devices_test
import data.troad.exchange

client := "TW/GOV/A11/welfare"

service := "TW/GOV/B07/housing/echo"

agreement := {
	"id": "TW-2026-0001",
	"consumer": client,
	"service": service,
	"methods": ["GET", "POST"],
	"paths": ["/", "/people/*", "/files/**"],
	"from_ms": 1000,
	"until_ms": 2000,
	"enabled_by_provider": true,
	"enabled_by_consumer": true,
	"assertion": "none",
	"class": "general",
	"device": "none",
}

at_consumer := {
	"decision_id": "AAECAwQFBgcICQoLDA0ODw",
	"now_ms": 1500,
	"role": "consumer",
	"request": {
		"method": "GET",
		"path": "/people/7",
		"client": client,
		"service": service,
		"provider_member": "TW/GOV/B07",
		"content_length": null,
	},
	"peer": null,
	"client_system": {"subsystem": client, "method": "mtls"},
	"agreement": agreement,
	"assertion": null,
	"device": null,
	"node": null,
	"signals": {
		"address": "known",
		"device": null,
		"hour": "usual",
		"rate_percent": 100,
		"refusals": 0,
		"volume_percent": null,
	},
	"threat": null,
}

at_provider := object.union(at_consumer, {
	"role": "provider",
	"client_system": null,
	"peer": {"gateway": "gw.a11.tw.troad.example", "member": "TW/GOV/A11"},
})

assertion := {
	"ial": 2,
	"aal": 3,
	"fal": 3,
	"acr": "urn:troad:acr:aal3",
	"amr": ["hwk", "pin"],
	"auth_time_ms": 500,
	"bound_by": "dpop",
	"issuer": "https://idp.a11.example",
	"member": "TW/GOV/A11",
}

demand := {"ial": 2, "aal": 3, "fal": 2, "max_age_seconds": 1, "proof": "required"}

with_user(facts) := changed(facts, {"/assertion": assertion, "/agreement/assertion": demand})

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := json.patch(facts, [{"op": "replace", "path": path, "value": value} |
	some path, value in changes
])

test_allows if {
	every facts in [at_consumer, at_provider] {
		verdict(facts) == {
			"decision_id": "AAECAwQFBgcICQoLDA0ODw",
			"allow": true,
			"reasons": [],
			"obligations": {},
			"score": 50,
			"threshold": 10,
			"tier": "medium",
		}
	}
}

test_allows_near_the_edges if {
	every changes in [
		{"/now_ms": 1000},
		{"/now_ms": 1999},
		{"/request/path": ""},
		{"/request/path": "/"},
		{"/request/path": "/files/a/b.csv"},
		{"/request/method": "POST"},
		{"/request/method": "DELETE", "/agreement/methods": ["*"]},
		{"/request/content_length": 0},
		{"/request/content_length": 107374182400},
	] {
		every facts in [at_consumer, at_provider] { verdict(changed(facts, changes)).allow == true }
	}
}

test_allows_loopback if verdict(changed(at_consumer, {"/client_system/method": "loopback"})).allow == true

# One change each, one reason each, at both gateways.
refusals := [
	[{"/now_ms": 999}, "admission.not_yet_in_force"],
	[{"/now_ms": 2000}, "admission.no_longer_in_force"],
	[{"/agreement/from_ms": null}, "admission.not_yet_in_force"],
	[{"/agreement/from_ms": "1000"}, "admission.not_yet_in_force"],
	[{"/agreement/from_ms": false}, "admission.not_yet_in_force"],
	[{"/agreement/until_ms": null}, "admission.no_longer_in_force"],
	[{"/agreement/until_ms": "2000"}, "admission.no_longer_in_force"],
	[{"/agreement/until_ms": []}, "admission.no_longer_in_force"],
	[{"/agreement/class": "secret"}, "admission.class_unknown"],
	[{"/agreement/class": null}, "admission.class_unknown"],
	[{"/agreement/class": ["general"]}, "admission.class_unknown"],
	[{"/agreement/id": ""}, "admission.agreement_missing"],
	[{"/agreement/id": null}, "admission.agreement_missing"],
	[{"/agreement": null}, "admission.agreement_missing"],
	[{"/agreement/consumer": "TW/GOV/A11/tax"}, "admission.consumer_not_agreed"],
	[{"/agreement/consumer": null}, "admission.consumer_not_agreed"],
	[{"/agreement/service": "TW/GOV/B07/housing/files"}, "admission.service_not_agreed"],
	[{"/agreement/service": null}, "admission.service_not_agreed"],
	[{"/request/method": "DELETE"}, "admission.method_not_agreed"],
	[{"/request/method": "get"}, "admission.method_not_agreed"],
	[{"/agreement/methods": []}, "admission.method_not_agreed"],
	[{"/request/path": "/people"}, "admission.path_not_agreed"],
	[{"/request/path": "/people/7/8"}, "admission.path_not_agreed"],
	[{"/agreement/paths": []}, "admission.path_not_agreed"],
	[{"/request/path": "/files/../people/7"}, "admission.path_ambiguous"],
	[{"/agreement/enabled_by_provider": false}, "admission.not_enabled_by_provider"],
	[{"/agreement/enabled_by_provider": "true"}, "admission.not_enabled_by_provider"],
	[{"/agreement/enabled_by_consumer": false}, "admission.not_enabled_by_consumer"],
	[{"/agreement/enabled_by_consumer": 1}, "admission.not_enabled_by_consumer"],
	[{"/agreement/assertion": "aal2"}, "admission.assertion_required"],
	[{"/agreement/assertion": ""}, "admission.assertion_required"],
	[{"/agreement/assertion": null}, "admission.assertion_required"],
	[{"/agreement/device": "attested"}, "admission.device_required"],
	[{"/agreement/device": null}, "admission.device_required"],
	[{"/request/provider_member": "TW/GOV/B08"}, "admission.service_foreign"],
	[{"/role": "auditor"}, "admission.input_malformed"],
	[{"/decision_id": 7}, "admission.input_malformed"],
	[{"/decision_id": ""}, "admission.input_malformed"],
	[{"/request/method": 7, "/agreement/methods": ["*"]}, "admission.input_malformed"],
	[{"/request/path": null}, "admission.input_malformed"],
	[{"/request/provider_member": null}, "admission.input_malformed"],
	[{"/now_ms": "1500"}, "admission.input_malformed"],
	[{"/now_ms": null}, "admission.input_malformed"],
	[{"/assertion": {"aal": 3}}, "admission.input_malformed"],
	[{"/device": {"tier": 1}}, "admission.input_malformed"],
	[{"/node": {"tier": 1}}, "admission.input_malformed"],
	[{"/request/content_length": -1}, "admission.input_malformed"],
	[{"/request/content_length": "1"}, "admission.input_malformed"],
	[{"/agreement/methods": "*"}, "admission.input_malformed"],
	[{"/agreement/methods": {"GET": "GET"}}, "admission.input_malformed"],
	[{"/agreement/methods": ["GET", 7]}, "admission.input_malformed"],
	[{"/agreement/paths": ["/people/*", null]}, "admission.input_malformed"],
	[{"/agreement/paths": {"0": "**"}}, "admission.input_malformed"],
	[{"/request/client": null, "/agreement/consumer": null}, "admission.input_malformed"],
	[{"/request/service": null, "/agreement/service": null}, "admission.input_malformed"],
]

test_refuses if {
	every refusal in refusals {
		every facts in [at_consumer, at_provider] {
			result := verdict(changed(facts, refusal[0]))
			result.allow == false
			result.reasons == [refusal[1]]
		}
	}
}

# --- Users

test_allows_users if {
	every changes in [
		{},
		{"/now_ms": 1500, "/assertion/auth_time_ms": 500},
		{"/assertion/auth_time_ms": 1600},
		{"/assertion/bound_by": "certificate"},
		{"/assertion/bound_by": "none", "/agreement/assertion/proof": "optional"},
		{"/agreement/assertion/aal": 2, "/agreement/assertion/ial": 1, "/agreement/assertion/fal": 1},
		{"/agreement/assertion": "none"},
	] {
		every facts in [at_consumer, at_provider] { verdict(changed(with_user(facts), changes)).allow == true }
	}
}

user_refusals := [
	[{"/assertion": null}, "admission.assertion_required"],
	[{"/agreement/assertion": "aal2"}, "admission.assertion_required"],
	[{"/assertion/member": "TW/GOV/A12"}, "admission.assertion_foreign"],
	[{"/assertion/member": "TW/GOV/A1"}, "admission.assertion_foreign"],
	[{"/assertion/member": "TW/GOV/B07"}, "admission.assertion_foreign"],
	[{"/assertion/member": "TW/GOV/A12", "/agreement/assertion": "none"}, "admission.assertion_foreign"],
	[{"/assertion/ial": 1}, "admission.identity_too_weak"],
	[{"/assertion/ial": 0}, "admission.identity_too_weak"],
	[{"/assertion/aal": 2}, "admission.authentication_too_weak"],
	[{"/assertion/fal": 1}, "admission.federation_too_weak"],
	[{"/assertion/auth_time_ms": 499}, "admission.authentication_too_old"],
	[{"/assertion/bound_by": "none"}, "admission.possession_unproved"],
	[{"/agreement/assertion/proof": "none"}, "admission.possession_unproved"],
	[{"/agreement/assertion/aal": "2"}, "admission.authentication_too_weak"],
	[{"/agreement/assertion/aal": null}, "admission.authentication_too_weak"],
	[{"/agreement/assertion/ial": "1"}, "admission.identity_too_weak"],
	[{"/agreement/assertion/fal": false}, "admission.federation_too_weak"],
	[{"/agreement/assertion/max_age_seconds": "60"}, "admission.authentication_too_old"],
	[{"/agreement/assertion/max_age_seconds": null}, "admission.authentication_too_old"],
	[{"/assertion/aal": "3"}, "admission.input_malformed"],
	[{"/assertion/ial": null}, "admission.input_malformed"],
	[{"/assertion/fal": [3]}, "admission.input_malformed"],
	[{"/assertion/auth_time_ms": "500"}, "admission.input_malformed"],
	[{"/assertion/bound_by": "hope"}, "admission.input_malformed"],
	[{"/assertion/amr": "hwk"}, "admission.input_malformed"],
	[{"/assertion/amr": [7]}, "admission.input_malformed"],
	[{"/assertion/issuer": null}, "admission.input_malformed"],
	[{"/assertion": {}}, "admission.input_malformed"],
	[{"/agreement/assertion": {}}, "admission.input_malformed"],
]

test_refuses_users if {
	every refusal in user_refusals {
		every facts in [at_consumer, at_provider] {
			result := verdict(changed(with_user(facts), refusal[0]))
			result.allow == false
			result.reasons == [refusal[1]]
		}
	}
}

test_refuses_users_without_any_one_field if {
	every facts in [with_user(at_consumer), with_user(at_provider)] {
		every path in leaves(facts) {
			admitted := verdict(json.remove(facts, [pointer(path)])).allow
			admitted == false
		}
	}
	every place in ["/assertion/", "/agreement/assertion/"] {
		patch := [{"op": "add", "path": concat("", [place, "extra"]), "value": 1}]
		verdict(json.patch(with_user(at_consumer), patch)).reasons == ["admission.input_malformed"]
	}
}

test_refuses_caller_at_consumer if {
	every changes in [
		{"/client_system": null},
		{"/client_system/method": "trusted"},
		{"/client_system/subsystem": "TW/GOV/A11/tax"},
		{"/peer": at_provider.peer},
		{"/role": "provider"},
	] {
		result := verdict(changed(at_consumer, changes))
		result.allow == false
		result.reasons == ["admission.caller_unproved"]
	}
}

test_refuses_caller_at_provider if {
	every changes in [
		{"/peer": null},
		{"/peer/member": "TW/GOV/A12"},
		{"/peer/member": "TW/GOV"},
		{"/peer/member": "TW/GOV/A1"},
		{"/client_system": at_consumer.client_system},
		{"/role": "consumer"},
	] {
		result := verdict(changed(at_provider, changes))
		result.allow == false
		result.reasons == ["admission.caller_unproved"]
	}
}

test_refuses_malformed_proofs if {
	every changes in [{"/client_system/subsystem": null}, {"/client_system/method": null}] {
		verdict(changed(at_consumer, changes)).reasons == ["admission.input_malformed"]
	}
	every changes in [{"/peer/gateway": 7}, {"/peer/member": null}] {
		verdict(changed(at_provider, changes)).reasons == ["admission.input_malformed"]
	}
}

# The member of a longer or shorter identifier is not a member.
test_refuses_identifiers_of_other_lengths if {
	every id in ["TW/GOV/A11", "TW/GOV/A11/welfare/x"] {
		result := verdict(changed(at_provider, {"/request/client": id, "/agreement/consumer": id}))
		result.reasons == ["admission.caller_unproved"]
	}
	every id in ["TW/GOV/B07/housing", "TW/GOV/B07/housing/echo/x"] {
		result := verdict(changed(at_provider, {"/request/service": id, "/agreement/service": id}))
		result.reasons == ["admission.service_foreign"]
	}
}

test_names_every_reason_that_applies if {
	result := verdict(changed(at_consumer, {"/now_ms": 2000, "/request/method": "PUT"}))
	result.reasons == ["admission.method_not_agreed", "admission.no_longer_in_force"]
}

# --- Missing and unknown fields

leaves(facts) := {path |
	some path, value
	walk(facts, [path, value])
	count(path) > 0
	every step in path { is_string(step) }
}

pointer(path) := concat("", [concat("/", ["", step]) | some step in path])

test_refuses_without_any_one_field if {
	every facts in [at_consumer, at_provider] {
		every path in leaves(facts) {
			admitted := verdict(json.remove(facts, [pointer(path)])).allow
			admitted == false
		}
	}
}

test_fields_were_found if {
	count(leaves(at_consumer)) == 38
	["agreement", "until_ms"] in leaves(at_consumer)
}

test_refuses_one_field_more if {
	every place in ["/", "/request/", "/client_system/", "/agreement/"] {
		facts := json.patch(at_consumer, [{"op": "add", "path": concat("", [place, "extra"]), "value": "none"}])
		verdict(facts).reasons == ["admission.input_malformed"]
	}
	verdict(json.patch(at_provider, [{"op": "add", "path": "/peer/extra", "value": 1}])).allow == false
}

test_refuses_malformed_threat if {
	every threat in [
		true,
		{},
		{"age_hours": 1, "cvss_tenths": 0, "epss_permille": 0},
		{"age_hours": 1, "cvss_tenths": 0, "epss_permille": 0, "kev": null},
		{"age_hours": "1", "cvss_tenths": 0, "epss_permille": 0, "kev": 0},
		{"age_hours": 1, "cvss_tenths": "0", "epss_permille": 0, "kev": 0},
		{"age_hours": 1, "cvss_tenths": 0, "epss_permille": [], "kev": 0},
		{"age_hours": 1, "cvss_tenths": 0, "epss_permille": 0, "kev": 0, "feeds": 3},
	] {
		verdict(changed(at_consumer, {"/threat": threat})).reasons == ["admission.input_malformed"]
	}
}

test_allows_with_threat_facts if {
	every threat in [
		{"age_hours": 1, "cvss_tenths": 0, "epss_permille": 0, "kev": 0},
		{"age_hours": null, "cvss_tenths": null, "epss_permille": null, "kev": 0},
	] {
		verdict(changed(at_consumer, {"/threat": threat})).allow == true
	}
}

test_refuses_malformed_signals if {
	every change in [
		{"/signals/address": null},
		{"/signals/address": "near"},
		{"/signals/device": true},
		{"/signals/hour": 7},
		{"/signals/rate_percent": "100"},
		{"/signals/refusals": null},
		{"/signals/volume_percent": "none"},
		{"/signals": null},
		{"/signals": {}},
	] {
		verdict(changed(at_consumer, change)).reasons == ["admission.input_malformed"]
	}
}

test_refuses_what_is_no_object if {
	every facts in [null, true, 1, "", [], {}] {
		verdict(facts) == {
			"decision_id": "",
			"allow": false,
			"reasons": ["admission.input_malformed"],
			"obligations": {},
			"score": 0,
			"threshold": 100,
			"tier": "none",
		}
	}
}

test_refuses_wrong_shapes if {
	every path in ["/request", "/peer", "/client_system", "/agreement"] {
		every value in [true, 1, "x", [], {}] {
			verdict(changed(at_consumer, {path: value})).reasons == ["admission.input_malformed"]
		}
	}
}

# --- The codes

test_every_reason_has_its_texts if {
	seen := {reason |
		some refusal in refusals
		some reason in verdict(changed(at_consumer, refusal[0])).reasons
	}
	of_users := {refusal[1] | some refusal in user_refusals}
	of_devices := {refusal[1] | some refusal in devices_test.refusals}
	admissions := {code | some code, _ in data.reasons; startswith(code, "admission.")}
	((seen | of_users) | of_devices) | {"admission.caller_unproved"} == admissions
	every texts in data.reasons {
		object.keys(texts) == {"en", "zh-TW"}
		every text in texts { count(text) > 5 }
	}
}
