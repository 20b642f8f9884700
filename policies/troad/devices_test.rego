package troad.devices_test

import data.troad.admission_test.at_consumer
import data.troad.admission_test.at_provider
import data.troad.admission_test.changed
import data.troad.admission_test.leaves
import data.troad.admission_test.pointer
import data.troad.admission_test.verdict
import data.troad.devices

machine := {
	"binding": "bound",
	"device": "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD",
	"expires_at_ms": 1600,
	"health": {"antivirus": 2, "applications": 2, "configuration": 2, "os": 32},
	"health_tier": "warning",
	"issued_at_ms": 1400,
	"issuer": "attest.tw.troad.example",
	"policy": "urn:troad:appraisal:edge:1@sha256:x",
	"tpm_tier": "affirming",
}

minimum := {"health": "warning", "residency": "bound", "tpm": "affirming"}

attested(facts) := changed(facts, {
	"/device": machine,
	"/node": machine,
	"/agreement/device": {"endpoint": minimum, "node": minimum},
})

both := [attested(at_consumer), attested(at_provider)]

test_allows_attested_machines if {
	every changes in [
		{},
		{"/device/binding": "tpm", "/node/binding": "tpm"},
		{"/device/health_tier": "affirming"},
		{"/now_ms": 1599},
		{"/device/issued_at_ms": 1501},
		{"/device": null, "/agreement/device/endpoint": null},
		{"/node": null, "/agreement/device/node": null},
		{"/device": null, "/node": null, "/agreement/device": "none"},
		{"/agreement/device": "none", "/device/tpm_tier": "contraindicated", "/node/binding": "software"},
		{"/agreement/device/endpoint": null, "/device/health_tier": "contraindicated"},
		{"/agreement/device/node": null, "/node/health_tier": "none"},
	] {
		every facts in both { verdict(changed(facts, changes)).allow == true }
	}
}

# One change each, one reason each, at both gateways.
refusals := [
	[{"/device": null}, "admission.device_required"],
	[{"/agreement/device": "attested"}, "admission.device_required"],
	[{"/agreement/device": null}, "admission.device_required"],
	[{"/device/expires_at_ms": 1500}, "admission.device_expired"],
	[{"/device/expires_at_ms": 1500, "/agreement/device": "none"}, "admission.device_expired"],
	[{"/device/tpm_tier": "warning"}, "admission.device_too_weak"],
	[{"/device/tpm_tier": "none"}, "admission.device_too_weak"],
	[{"/device/tpm_tier": "contraindicated"}, "admission.device_too_weak"],
	[{"/agreement/device/endpoint/tpm": "perfect"}, "admission.device_too_weak"],
	[{"/agreement/device/endpoint/tpm": null}, "admission.device_too_weak"],
	[{"/device/health_tier": "none"}, "admission.device_unhealthy"],
	[{"/device/health_tier": "contraindicated"}, "admission.device_unhealthy"],
	[{"/agreement/device/endpoint/health": 2}, "admission.device_unhealthy"],
	[{"/device/binding": "software"}, "admission.device_unbound"],
	[{"/agreement/device/endpoint/residency": "tpm"}, "admission.device_unbound"],
	[{"/agreement/device/endpoint/residency": "any"}, "admission.device_unbound"],
	[{"/node": null}, "admission.node_required"],
	[{"/node/expires_at_ms": 1500}, "admission.node_expired"],
	[{"/node/expires_at_ms": 1499, "/agreement/device/node": null}, "admission.node_expired"],
	[{"/node/tpm_tier": "warning"}, "admission.node_too_weak"],
	[{"/agreement/device/node/tpm": ""}, "admission.node_too_weak"],
	[{"/node/health_tier": "contraindicated"}, "admission.node_unhealthy"],
	[{"/node/binding": "software"}, "admission.node_unbound"],
	[{"/agreement/device": {}}, "admission.input_malformed"],
	[{"/agreement/device/endpoint": "none"}, "admission.input_malformed"],
	[{"/agreement/device/node": []}, "admission.input_malformed"],
	[{"/device": {}}, "admission.input_malformed"],
	[{"/device": "healthy"}, "admission.input_malformed"],
	[{"/device/binding": "hope"}, "admission.input_malformed"],
	[{"/device/device": 7}, "admission.input_malformed"],
	[{"/device/expires_at_ms": "1600"}, "admission.input_malformed"],
	[{"/device/expires_at_ms": null}, "admission.input_malformed"],
	[{"/device/health": null}, "admission.input_malformed"],
	[{"/device/health/os": "2"}, "admission.input_malformed"],
	[{"/device/health_tier": "good"}, "admission.input_malformed"],
	[{"/device/issued_at_ms": false}, "admission.input_malformed"],
	[{"/node/issuer": null}, "admission.input_malformed"],
	[{"/node/policy": ["x"]}, "admission.input_malformed"],
	[{"/node/tpm_tier": true}, "admission.input_malformed"],
]

test_refuses if {
	every refusal in refusals {
		every facts in both {
			result := verdict(changed(facts, refusal[0]))
			result.allow == false
			result.reasons == [refusal[1]]
		}
	}
}

test_refuses_without_any_one_field if {
	every facts in both {
		every path in leaves(facts) {
			admitted := verdict(json.remove(facts, [pointer(path)])).allow
			admitted == false
		}
	}
}

test_refuses_one_field_more if {
	every place in ["/device/", "/device/health/", "/node/", "/agreement/device/", "/agreement/device/node/"] {
		patch := [{"op": "add", "path": concat("", [place, "extra"]), "value": 1}]
		verdict(json.patch(attested(at_consumer), patch)).reasons == ["admission.input_malformed"]
	}
}

# The tables agree with gateway/device/tier.ts and demand.ts: order, and no word more.
test_ranks if {
	object.keys(devices.tiers) == {"contraindicated", "none", "warning", "affirming"}
	object.keys(devices.bindings) == {"software", "bound", "tpm"}
	not devices.current(machine, "1500")
}
