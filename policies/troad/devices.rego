# METADATA
# title: Machines
# description: >-
#   What an attestation service said of a machine, against the minimum that an agreement names for it. Which machine is
#   the caller's business: the endpoint (that a user or client system sits on) or the node (the host of the peer gateway).
package troad.devices

# METADATA
# title: Tiers in order
# description: >-
#   From worst to best. "none" (nothing is known) lies below "warning": a machine that shows its faults is better known.
tiers := {"contraindicated": 0, "none": 1, "warning": 2, "affirming": 3}

# METADATA
# title: Ways to hang on a TPM, in order
# description: >-
#   "software": the result names the certificate; "bound": a key in the TPM signed this connection; "tpm": the TLS key is
#   in the TPM.
bindings := {"software": 0, "bound": 1, "tpm": 2}

# METADATA
# title: Did the machine boot what it should?
booted(machine, minimum) if at_least(tiers, machine.tpm_tier, minimum.tpm)

# METADATA
# title: Is it looked after? The host says so itself, so this lifts nothing of the above.
healthy(machine, minimum) if at_least(tiers, machine.health_tier, minimum.health)

# METADATA
# title: Does the connection hang on its TPM?
held(machine, minimum) if at_least(bindings, machine.binding, minimum.residency)

# METADATA
# title: Does the result still count?
# description: No grace. A result from the future is the gateway's to refuse, which knows how far clocks may differ.
current(machine, now_ms) if {
	is_number(now_ms)
	now_ms < machine.expires_at_ms
}

# METADATA
# title: A word that reaches another
# description: >-
#   A word that is not in the table has no rank, so there is nothing it is at least.
at_least(ranks, shown, minimum) if ranks[shown] >= ranks[minimum]

# METADATA
# title: Is it everything the gateway says of a machine, and nothing else?
well_formed(machine) if {
	object.keys(machine) == {
		"binding", "device", "expires_at_ms", "health", "health_tier",
		"issued_at_ms", "issuer", "policy", "tpm_tier",
	}
	object.keys(machine.health) == {"antivirus", "applications", "configuration", "os"}
	every _, value in machine.health { is_number(value) }
	bindings[machine.binding] >= 0
	is_string(machine.device)
	is_number(machine.expires_at_ms)
	tiers[machine.health_tier] >= 0
	is_number(machine.issued_at_ms)
	is_string(machine.issuer)
	is_string(machine.policy)
	tiers[machine.tpm_tier] >= 0
}

# METADATA
# title: Is it a whole minimum? Whether its words mean anything shows when a machine is measured against it.
minimum_well_formed(minimum) if object.keys(minimum) == {"health", "residency", "tpm"}
