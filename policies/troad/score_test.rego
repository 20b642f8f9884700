package troad.score_test

import data.troad.admission_test
import data.troad.score

machine := {
	"binding": "bound",
	"device": "d1",
	"expires_at_ms": 9000,
	"health": {"antivirus": 2, "applications": 2, "configuration": 2, "os": 2},
	"health_tier": "affirming",
	"issued_at_ms": 1000,
	"issuer": "https://attestor.example",
	"policy": "p1",
	"tpm_tier": "affirming",
}

# Everything as good as it can be, and a user who has just signed in.
best := json.patch(admission_test.with_user(admission_test.at_consumer), [
	{"op": "replace", "path": "/device", "value": machine},
	{"op": "replace", "path": "/node", "value": machine},
	{"op": "replace", "path": "/signals", "value": {
		"address": "known",
		"device": "known",
		"hour": "usual",
		"rate_percent": 100,
		"refusals": 0,
		"volume_percent": 0,
	}},
	{"op": "replace", "path": "/threat", "value": {
		"age_hours": 1,
		"cvss_tenths": 0,
		"epss_permille": 0,
		"kev": 0,
	}},
])

levels(facts) := result if result := score.levels with input as facts

value(facts) := result if result := score.value with input as facts

tier(facts) := result if result := score.tier with input as facts

shortfalls(facts) := result if result := score.shortfalls with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

test_weights_add_up if sum([weight | some weight in data.score.weights]) == 25

test_every_factor_has_a_weight_and_a_reason if {
	object.keys(data.score.weights) == object.keys(levels(best))
	factors := {concat("", ["score.", factor, "_low"]) | some factor, _ in data.score.weights}
	known := {code | some code, _ in data.reasons; startswith(code, "score.")}
	known == factors | {"score.too_low", "score.feed_stale"}
}

test_best if {
	value(best) == 100
	tier(best) == "high"
	count(shortfalls(best)) == 0
	every level in levels(best) { level == 4 }
}

test_worst if {
	every facts in [{}, null, [], "x", {"signals": {}, "device": {}, "assertion": {}}] {
		value(facts) == 0
		tier(facts) == "low"
		every level in levels(facts) { level == 0 }
	}
}

test_tiers if {
	tier(admission_test.at_consumer) == "medium"
	tier(changed(admission_test.at_consumer, {"/client_system/method": "loopback"})) == "low"
}

# change, factor, level
table := [
	# The system alone.
	[{"/assertion": null}, "identity", 3],
	[{"/assertion": null, "/client_system/method": "loopback"}, "identity", 2],
	[{"/assertion": null, "/client_system/method": "https"}, "identity", 1],
	[{"/assertion": null, "/client_system/method": "trusted"}, "identity", 0],
	[{"/assertion": null, "/client_system": null}, "identity", 0],
	[{"/assertion": null, "/role": "provider"}, "identity", 0],
	[{"/assertion": null, "/role": "provider", "/peer": {"gateway": "g", "member": "m"}}, "identity", 3],
	# Its user, on the weakest system.
	[{"/client_system/method": "https", "/assertion/bound_by": "none"}, "identity", 3],
	[{"/client_system/method": "https", "/assertion/bound_by": "certificate"}, "identity", 4],
	[{"/client_system/method": "https", "/assertion/ial": 1}, "identity", 3],
	[{"/client_system/method": "https", "/assertion/ial": 0}, "identity", 2],
	[{"/client_system/method": "https", "/assertion/aal": 2}, "identity", 3],
	[{"/client_system/method": "https", "/assertion/aal": 1}, "identity", 2],
	[{"/client_system/method": "https", "/assertion/aal": 0}, "identity", 1],
	[{"/client_system/method": "https", "/assertion/aal": "3"}, "identity", 1],
	[{"/client_system/method": "https", "/assertion/auth_time_ms": null}, "identity", 1],
	[{"/client_system/method": "https", "/now_ms": 3600500}, "identity", 4],
	[{"/client_system/method": "https", "/now_ms": 3600501}, "identity", 3],
	[{"/client_system/method": "https", "/now_ms": 28800500}, "identity", 3],
	[{"/client_system/method": "https", "/now_ms": 28800501}, "identity", 2],
	[{"/client_system/method": "https", "/now_ms": 43200501}, "identity", 1],
	# The endpoint.
	[{"/device": null}, "device", 0],
	[{"/device/tpm_tier": "warning"}, "device", 2],
	[{"/device/tpm_tier": "none"}, "device", 1],
	[{"/device/tpm_tier": "contraindicated"}, "device", 0],
	[{"/device/tpm_tier": "good"}, "device", 0],
	[{"/device/binding": "tpm"}, "device", 4],
	[{"/device/binding": "software"}, "device", 2],
	[{"/device/binding": null}, "device", 0],
	[{"/device": null}, "health", 0],
	[{"/device/health_tier": "warning"}, "health", 2],
	[{"/device/health_tier": "none"}, "health", 1],
	[{"/device/health_tier": "contraindicated"}, "health", 0],
	[{"/device/health/os": 31}, "health", 4],
	[{"/device/health/os": 32}, "health", 2],
	[{"/device/health/antivirus": 95}, "health", 2],
	[{"/device/health/antivirus": 96}, "health", 0],
	[{"/device/health/applications": 1}, "health", 1],
	[{"/device/health/applications": 0}, "health", 1],
	[{"/device/health/configuration": -1}, "health", 1],
	[{"/device/health/configuration": -2}, "health", 4],
	[{"/device/health/configuration": -32}, "health", 4],
	[{"/device/health/configuration": -33}, "health", 2],
	[{"/device/health/configuration": -97}, "health", 0],
	[{"/device/health": {}}, "health", 0],
	# The host of the other gateway.
	[{"/node": null}, "node", 0],
	[{"/node/tpm_tier": "warning"}, "node", 2],
	[{"/node/health_tier": "none"}, "node", 1],
	[{"/node/binding": "software"}, "node", 2],
	[{"/node/tpm_tier": "contraindicated"}, "node", 0],
	# Weaknesses.
	[{"/threat": null}, "components", 0],
	[{"/threat/age_hours": null}, "components", 0],
	[{"/threat/age_hours": 48}, "components", 4],
	[{"/threat/age_hours": 49}, "components", 0],
	[{"/threat/age_hours": "1"}, "components", 0],
	[{"/threat/kev": 1}, "components", 0],
	[{"/threat/kev": null}, "components", 0],
	[{"/threat/cvss_tenths": null}, "components", 0],
	[{"/threat/cvss_tenths": 39}, "components", 4],
	[{"/threat/cvss_tenths": 40}, "components", 3],
	[{"/threat/cvss_tenths": 70}, "components", 2],
	[{"/threat/cvss_tenths": 90}, "components", 1],
	[{"/threat/cvss_tenths": 101}, "components", 0],
	[{"/threat/epss_permille": 9}, "components", 4],
	[{"/threat/epss_permille": 10}, "components", 3],
	[{"/threat/epss_permille": 100}, "components", 2],
	[{"/threat/epss_permille": 500}, "components", 1],
	[{"/threat/epss_permille": -1}, "components", 0],
	# What is unusual.
	[{"/signals/address": "new"}, "address", 1],
	[{"/signals/address": null}, "address", 0],
	[{"/signals/device": "new"}, "machine", 1],
	[{"/signals/device": null}, "machine", 0],
	[{"/signals/hour": "unusual"}, "hour", 1],
	[{"/signals/hour": null}, "hour", 0],
	[{"/signals/rate_percent": 150}, "rate", 4],
	[{"/signals/rate_percent": 151}, "rate", 3],
	[{"/signals/rate_percent": 500}, "rate", 2],
	[{"/signals/rate_percent": 1000}, "rate", 1],
	[{"/signals/rate_percent": 1001}, "rate", 0],
	[{"/signals/rate_percent": null}, "rate", 0],
	[{"/signals/refusals": 1}, "refusals", 3],
	[{"/signals/refusals": 5}, "refusals", 2],
	[{"/signals/refusals": 10}, "refusals", 1],
	[{"/signals/refusals": 11}, "refusals", 0],
	[{"/signals/refusals": "0"}, "refusals", 0],
	[{"/signals/volume_percent": 300}, "volume", 3],
	[{"/signals/volume_percent": 5000}, "volume", 0],
	[{"/signals/volume_percent": null}, "volume", 0],
	[{"/signals": null}, "refusals", 0],
]

test_levels if {
	every row in table {
		found := levels(changed(best, row[0]))
		found[row[1]] == row[2]
	}
}

# A change of one factor changes the sum by its weight and nothing else: the score can be added up by hand.
test_sum if {
	every row in table {
		facts := changed(best, row[0])
		products := [product | some factor, level in levels(facts); product := data.score.weights[factor] * level]
		value(facts) == sum(products)
	}
	value(changed(best, {"/signals/refusals": 11})) == 92
}

test_missing_is_worst if {
	every path in admission_test.leaves(best) {
		without := levels(json.remove(best, [admission_test.pointer(path)]))
		every factor, level in without { level <= levels(best)[factor] }
	}
}

test_without_one_input_its_factor_is_zero if {
	every pair in [
		["/device/tpm_tier", "device"],
		["/device/binding", "device"],
		["/device/health", "health"],
		["/device/health/os", "health"],
		["/device/health/antivirus", "health"],
		["/device/health/applications", "health"],
		["/device/health/configuration", "health"],
		["/device/health_tier", "health"],
		["/node", "node"],
		["/node/tpm_tier", "node"],
		["/node/binding", "node"],
		["/node/health_tier", "node"],
		["/threat", "components"],
		["/threat/age_hours", "components"],
		["/threat/kev", "components"],
		["/threat/cvss_tenths", "components"],
		["/threat/epss_permille", "components"],
		["/signals/address", "address"],
		["/signals/device", "machine"],
		["/signals/hour", "hour"],
		["/signals/rate_percent", "rate"],
		["/signals/refusals", "refusals"],
		["/signals/volume_percent", "volume"],
	] {
		found := levels(json.remove(best, [pair[0]]))
		found[pair[1]] == 0
	}
}

test_shortfalls if {
	shortfalls(changed(best, {"/signals/address": "new", "/signals/rate_percent": 500})) == {"score.address_low"}
	shortfalls(changed(best, {"/threat/age_hours": 49})) == {"score.components_low", "score.feed_stale"}
	stale_without_machine := shortfalls(changed(best, {"/threat": null, "/device": null}))
	not "score.feed_stale" in stale_without_machine
}

step_up(facts, threshold) := result if {
	result := score.step_up(threshold) with input as facts
} else := "none"

test_step_up if {
	weak := changed(best, {"/assertion/aal": 1, "/client_system/method": "https"})
	value(weak) == 80
	step_up(weak, 100) == {"aal": 3, "max_age_seconds": 3600}
	step_up(weak, 90) == {"aal": 2, "max_age_seconds": 28800}
	old := changed(best, {"/now_ms": 3600501})
	step_up(old, 100) == {"aal": 3, "max_age_seconds": 3600}
}

test_no_step_up_that_would_not_help if {
	weak := changed(best, {"/assertion/aal": 1, "/client_system/method": "https"})
	step_up(changed(weak, {"/assertion/ial": 1}), 100) == "none"
	step_up(changed(weak, {"/assertion/bound_by": "none"}), 100) == "none"
	step_up(changed(weak, {"/device": null}), 100) == "none"
	step_up(changed(best, {"/assertion": null}), 100) == "none"
	step_up(changed(best, {"/device": null}), 100) == "none"
}
