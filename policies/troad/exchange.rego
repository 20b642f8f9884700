# METADATA
# title: The decision on an exchange
# description: >-
#   What gateways ask. Admission says whether the exchange may happen at all.
# schemas:
#   - input: schema.input
package troad.exchange

import data.troad.admission

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
	"threshold": 0,
	"tier": "none",
}

decision := {
	"allow": admission.admitted,
	"decision_id": input.decision_id,
	"obligations": {},
	"reasons": admission.reasons,
	"score": score,
	"threshold": 0,
	"tier": tier,
}

score := 100 if {
	admission.admitted
} else := 0

tier := "high" if {
	admission.admitted
} else := "none"
