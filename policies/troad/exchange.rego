# METADATA
# title: The decision on an exchange
# description: >-
#   What gateways ask. Admission says whether the exchange may happen at all, the score whether this caller is trusted far
#   enough for what is at stake, the agency's own rules what else it wants, obligations under what conditions.
# schemas:
#   - input: schema.input
#   - data.classes: schema.classes
package troad.exchange

import data.troad.additions
import data.troad.admission
import data.troad.obligations
import data.troad.score

# METADATA
# title: The decision
# description: >-
#   decision_id echoes the input's. Without one the default stands, and the gateway takes an empty echo for no decision.
# entrypoint: true
default decision := {
	"allow": false,
	"decision_id": "",
	"obligations": {},
	"reasons": ["admission.input_malformed"],
	"score": 0,
	"threshold": 100,
	"tier": "none",
}

decision := {
	"allow": allow,
	"decision_id": input.decision_id,
	"obligations": duties,
	"reasons": reasons,
	"score": score.value,
	"threshold": threshold,
	"tier": tier,
}

# METADATA
# title: May it happen?
default allow := false

allow if {
	admission.admitted
	count(additions.refusals) == 0
	score.value >= threshold
}

# METADATA
# title: What the score has to reach for what is at stake
default threshold := 100

threshold := data.classes[input.agreement.class].threshold

# METADATA
# title: How far the caller is trusted; "none" when it is not admitted
tier := score.tier if {
	admission.admitted
} else := "none"

# METADATA
# title: Why not
reasons := admission.reasons if {
	not admission.admitted
} else := [] if {
	allow
} else := array.concat(distrust, sort(additions.refusals))

# METADATA
# title: Why the score is too low
default distrust := []

distrust := array.concat(["score.too_low"], sort(score.shortfalls)) if score.value < threshold

# METADATA
# title: Under what conditions, or what would change a denial
duties := obligations.allowed if {
	allow
} else := obligations.denied if {
	admission.admitted
} else := {}
