package troad.additions_test

import data.troad.admission_test
import data.troad.exchange
import data.troad.exchange_test
import data.troad.score_test

verdict(facts, agency) := result if {
	result := exchange.decision with input as facts with data.agency as agency
}

caller := admission_test.at_consumer

test_refuses_what_an_agency_refuses if {
	result := verdict(caller, {"a": {"refusals": {"z.z"}}, "b": {"refusals": {"b.b", "a.a"}}})
	result.allow == false
	result.reasons == ["a.a", "b.b", "z.z"]
	result.obligations == {}
	result.tier == "medium"
}

test_never_allows_more if {
	denied := admission_test.changed(caller, {"/request/method": "DELETE"})
	agency := {"a": {"refusals": set(), "duties": {}, "step_ups": {}, "allow": true}}
	verdict(denied, agency) == verdict(denied, {})
	verdict(caller, agency) == verdict(caller, {})
}

test_admission_hides_what_follows if {
	denied := admission_test.changed(caller, {"/request/method": "DELETE"})
	verdict(denied, {"a": {"refusals": {"a.a"}}}).reasons == ["admission.method_not_agreed"]
}

test_the_strictest_duty_counts if {
	facts := exchange_test.of_class(
		admission_test.changed(caller, {"/client_system/method": "loopback"}),
		"personal",
	)
	verdict(facts, {}).obligations.max_seconds == 600
	agency := {
		"a": {"duties": {"max_seconds": 60, "read_only": true}},
		"b": {"duties": {"max_seconds": 6000}},
	}
	result := verdict(facts, agency)
	result.allow == true
	result.obligations.max_seconds == 60
	result.obligations.read_only == true
	result.obligations.extra_logging == true
	count(result.obligations) == 5
}

weak := exchange_test.of_class(
	admission_test.changed(score_test.best, {"/assertion/aal": 2, "/agreement/assertion/aal": 2}),
	"sensitive",
)

again := {"aal": 2, "max_age_seconds": 60}

test_step_up_where_it_changes_everything if {
	verdict(weak, {}).allow == true
	agency := {"a": {"refusals": {"a.a"}, "step_ups": {"a.a": again}}}
	verdict(weak, agency).obligations == {"step_up": again}
	harder := {"b": {"refusals": {"b.b"}, "step_ups": {"b.b": {"aal": 3, "max_age_seconds": 900}}}}
	verdict(weak, object.union(agency, harder)).obligations == {"step_up": {"aal": 3, "max_age_seconds": 60}}
}

test_no_step_up_where_something_else_stands_in_the_way if {
	verdict(weak, {"a": {"refusals": {"a.a", "a.b"}, "step_ups": {"a.a": again}}}).obligations == {}
	of_system := exchange_test.of_class(caller, "general")
	verdict(of_system, {"a": {"refusals": {"a.a"}, "step_ups": {"a.a": again}}}).obligations == {}
}

# Both the score and an agency want more: what is asked for is enough for both.
test_step_up_for_score_and_agency if {
	low := admission_test.changed(weak, {"/device": null, "/threat": null, "/node": null})
	agency := {"a": {"refusals": {"a.a"}, "step_ups": {"a.a": again}}}
	result := verdict(low, agency)
	result.reasons[0] == "score.too_low"
	"a.a" in result.reasons
	result.obligations == {"step_up": {"aal": 3, "max_age_seconds": 60}}
	hopeless := admission_test.changed(low, {"/signals/refusals": 100})
	verdict(hopeless, agency).obligations == {}
}
