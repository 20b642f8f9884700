package troad.exchange_test

import data.troad.admission_test
import data.troad.exchange
import data.troad.score_test

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

best := score_test.best

# A system, proved by mutual TLS, that was never seen before.
newcomer := changed(admission_test.at_consumer, {"/signals": {
	"address": "new",
	"device": null,
	"hour": null,
	"rate_percent": null,
	"refusals": 0,
	"volume_percent": null,
}})

of_class(facts, class) := changed(facts, {"/agreement/class": class})

test_everybody_admitted_reaches_general if {
	every method in ["mtls", "loopback", "https"] {
		facts := changed(newcomer, {"/client_system/method": method, "/signals/refusals": 1000})
		result := verdict(facts)
		result.allow == true
		result.score >= result.threshold
	}
}

test_threshold_is_that_of_the_class if {
	every class, row in data.classes { verdict(of_class(best, class)).threshold == row.threshold }
}

# The same caller, more at stake (SP 800-207 §3.3.1).
test_denies_below_the_threshold if {
	verdict(newcomer).allow == true
	verdict(of_class(newcomer, "personal")) == {
		"allow": false,
		"decision_id": "AAECAwQFBgcICQoLDA0ODw",
		"obligations": {},
		"reasons": [
			"score.too_low", "score.address_low", "score.components_low", "score.device_low", "score.health_low", "score.hour_low",
			"score.machine_low", "score.node_low", "score.rate_low", "score.volume_low",
		],
		"score": 39,
		"threshold": 40,
		"tier": "low",
	}
	verdict(of_class(admission_test.at_consumer, "personal")).allow == true
	verdict(of_class(admission_test.at_consumer, "sensitive")).allow == false
	verdict(of_class(best, "sensitive")).allow == true
}

# Requirements of context: a burst, an odd hour, a new address.
test_context_decides if {
	regular := of_class(changed(admission_test.at_consumer, {"/signals/volume_percent": 0}), "personal")
	verdict(regular).allow == true
	odd := changed(regular, {
		"/signals/address": "new",
		"/signals/hour": "unusual",
		"/signals/rate_percent": 2000,
		"/signals/refusals": 6,
	})
	result := verdict(odd)
	result.allow == false
	"score.rate_low" in result.reasons
	"score.refusals_low" in result.reasons
}

test_duties_of_class_and_tier if {
	verdict(best).obligations == {}
	every class, row in data.classes {
		result := verdict(of_class(best, class))
		result.tier == "high"
		result.obligations == row.obligations.high
	}
	weaker := changed(best, {"/device": null, "/threat": null, "/signals/device": null})
	result := verdict(of_class(weaker, "sensitive"))
	result.tier == "medium"
	result.obligations == data.classes.sensitive.obligations.medium
	loopback := changed(admission_test.at_consumer, {"/client_system/method": "loopback"})
	verdict(of_class(loopback, "personal")).obligations == data.classes.personal.obligations.low
}

test_what_is_odd_is_noted if {
	verdict(changed(best, {"/signals/refusals": 6})).obligations == {"extra_logging": true}
	verdict(changed(best, {"/threat/age_hours": 49})).obligations == {"extra_logging": true}
	verdict(changed(best, {"/threat": null})).obligations == {"extra_logging": true}
}

test_step_up_when_it_would_help if {
	weak := of_class(
		changed(best, {"/assertion/aal": 2, "/agreement/assertion/aal": 2, "/device": null, "/threat": null, "/node": null}),
		"sensitive",
	)
	result := verdict(weak)
	result.allow == false
	result.reasons[0] == "score.too_low"
	result.obligations == {"step_up": {"aal": 3, "max_age_seconds": 3600}}
	verdict(changed(weak, {"/assertion/aal": 3})).allow == true
	verdict(changed(weak, {"/signals/refusals": 100})).obligations == {}
}

test_no_step_up_without_user if {
	facts := of_class(admission_test.at_consumer, "sensitive")
	verdict(facts).obligations == {}
}

test_not_admitted_is_no_tier if {
	result := verdict(changed(best, {"/agreement/enabled_by_provider": false}))
	result.allow == false
	result.tier == "none"
	result.score == 100
	result.reasons == ["admission.not_enabled_by_provider"]
	result.obligations == {}
}
