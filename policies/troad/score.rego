# METADATA
# title: How far a caller is trusted
# description: >-
#   Every factor has a level from 0 (worst) to 4, every level a weight (data/score.json; the weights add up to 25), and the
#   sum of their products is the score, 0 to 100. What is missing, unknown or malformed has level 0: no factor can get
#   better by leaving something out. Every table falls as its input gets worse, so the score does too.
# schemas:
#   - input: schema.input
#   - data.score: schema.score
package troad.score

# METADATA
# title: The score
value := sum([points | some points in contributions])

# METADATA
# title: What each factor contributes, so that the sum can be checked by hand
contributions[factor] := data.score.weights[factor] * level if some factor, level in levels

# METADATA
# title: Level of each factor, 0 to 4
levels := {
	"identity": identity,
	"device": device,
	"health": health,
	"node": node,
	"components": components,
	"address": address,
	"machine": machine,
	"hour": hour,
	"rate": rate,
	"refusals": refusals,
	"volume": volume,
}

# METADATA
# title: Band of the score
tier := "high" if {
	value >= data.score.tiers.high
} else := "medium" if {
	value >= data.score.tiers.medium
} else := "low"

# METADATA
# title: Reason for each factor that stands badly
shortfalls contains concat("", ["score.", factor, "_low"]) if {
	some factor, level in levels
	level <= 1
}

shortfalls contains "score.feed_stale" if feed_stale

# --- Identity

# METADATA
# title: Whoever is shown best, the system or its user
identity := max((({0} | system_levels) | user_levels))

# METADATA
# title: How the client system, or the peer gateway, was proved
system_levels contains data.score.identity.systems[input.client_system.method] if input.role == "consumer"

system_levels contains data.score.identity.systems.gateway if {
	input.role == "provider"
	is_string(input.peer.member)
}

# METADATA
# title: Rows of the table that the user reaches
user_levels contains row.level if {
	some row in data.score.identity.users
	possible(row)
	at_least(input.assertion.aal, row.aal)
	is_number(input.assertion.auth_time_ms)
	input.now_ms - input.assertion.auth_time_ms <= row.max_age_seconds * 1000
}

# METADATA
# title: Rows that the user could reach by authenticating again
# description: Who somebody is, and whether the assertion is bound, no sign-in changes.
possible(row) if {
	at_least(input.assertion.ial, row.ial)
	bound_enough(row)
}

# METADATA
# title: Is the assertion bound to a key, where the row wants that?
bound_enough(row) if row.bound == false

bound_enough(row) if {
	row.bound == true
	input.assertion.bound_by in {"certificate", "dpop"}
}

# METADATA
# title: A number that reaches another
# description: Rego orders values of different types, so a comparison with text would hold.
at_least(shown, wanted) if {
	is_number(shown)
	shown >= wanted
}

# METADATA
# title: The least step-up that lifts the score over a threshold
# description: Undefined when none does; asking for one would be a false trail.
step_up(threshold) := {"aal": row.aal, "max_age_seconds": row.max_age_seconds} if {
	some row in data.score.identity.users
	row.level == min({enough.level | some enough in data.score.identity.users; lifts(enough, threshold)})
}

# METADATA
# title: Would reaching this row be enough?
lifts(row, threshold) if {
	possible(row)
	row.level > identity
	value + (data.score.weights.identity * (row.level - identity)) >= threshold
}

# --- Machines

# METADATA
# title: Device identity, what the endpoint's TPM vouches for and how the connection hangs on it
default device := 0

device := min({booted, held}) if {
	booted := data.score.machines.tiers[input.device.tpm_tier]
	held := data.score.machines.bindings[input.device.binding]
}

# METADATA
# title: Health of the endpoint, which is that of its worst item
default health := 0

health := min({tier_level} | {item_level(claim) | some claim in input.device.health}) if {
	tier_level := data.score.machines.tiers[input.device.health_tier]
	count(input.device.health) == 4
}

# METADATA
# title: Level of one AR4SI claim
# description: Negative values mirror the positive ones, -2 being 1's neighbour (AR4SI §3.2.2). -1 to 1 say nothing.
item_level(claim) := data.score.machines.tiers.none if {
	claim in {-1, 0, 1}
} else := steps(data.score.health, magnitude(claim))

# METADATA
# title: A claim without its sign
magnitude(claim) := claim if claim >= 0

magnitude(claim) := -1 - claim if claim < 0

# METADATA
# title: The host of the peer gateway
default node := 0

node := min({booted, held, looked_after}) if {
	booted := data.score.machines.tiers[input.node.tpm_tier]
	held := data.score.machines.bindings[input.node.binding]
	looked_after := data.score.machines.tiers[input.node.health_tier]
}

# METADATA
# title: Known weaknesses of what the machines run (CVSS, EPSS, KEV)
# description: A feed that is old, or that is not there, vouches for nothing.
default components := 0

components := min({
	steps(data.score.components.kev, input.threat.kev),
	steps(data.score.components.cvss_tenths, input.threat.cvss_tenths),
	steps(data.score.components.epss_permille, input.threat.epss_permille),
}) if {
	feed_current
}

# METADATA
# title: Are the threat feeds of late?
feed_current if {
	is_number(input.threat.age_hours)
	input.threat.age_hours <= data.score.components.feed_max_age_hours
}

# METADATA
# title: Would the feeds matter, and are they not of late?
feed_stale if {
	is_object(input.device)
	not feed_current
}

# --- What is unusual (gateway/trust/signals.ts)

# METADATA
# title: Is the address familiar?
default address := 0

address := data.score.signals.address[input.signals.address]

# METADATA
# title: Is the machine familiar?
default machine := 0

machine := data.score.signals.machine[input.signals.device]

# METADATA
# title: Is this an hour of the caller's?
default hour := 0

hour := data.score.signals.hour[input.signals.hour]

# METADATA
# title: Requests of this minute against the caller's norm
default rate := 0

rate := steps(data.score.signals.rate_percent, input.signals.rate_percent)

# METADATA
# title: Requests of the caller that were refused lately
default refusals := 0

refusals := steps(data.score.signals.refusals, input.signals.refusals)

# METADATA
# title: Bytes of this minute against the caller's norm
default volume := 0

volume := steps(data.score.signals.volume_percent, input.signals.volume_percent)

# METADATA
# title: Level of a number in a table of upper bounds
# description: The best row that covers it; 0 when it is above all of them, negative, or no number.
steps(rows, number) := max([row.level | some row in rows; number <= row.max]) if {
	is_number(number)
	number >= 0
} else := 0
