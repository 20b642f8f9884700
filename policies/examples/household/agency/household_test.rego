package household_test

import data.agency.household
import data.troad.admission_test
import data.troad.exchange
import data.troad.score_test

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

# A Monday, 00:00 in Taiwan; far from any end.
monday := 1768147200000

day := 86400000

# The clerk signed in seconds ago; nothing else ends soon.
clerk(at, age_seconds) := changed(score_test.best, {
	"/agreement/class": "household",
	"/agreement/from_ms": 0,
	"/agreement/until_ms": monday * 2,
	"/agreement/assertion/max_age_seconds": 900,
	"/assertion/auth_time_ms": at - (age_seconds * 1000),
	"/device/expires_at_ms": monday * 2,
	"/node/expires_at_ms": monday * 2,
	"/now_ms": at,
})

minutes(hour, minute) := ((hour * 60) + minute) * 60000

open := [
	monday + minutes(8, 30),
	(monday + minutes(17, 30)) - 1,
	(monday + (4 * day)) + minutes(12, 0),
]

closed := [
	(monday + minutes(8, 30)) - 1,
	monday + minutes(17, 30),
	monday,
	(monday + (5 * day)) + minutes(12, 0),
	(monday + (6 * day)) + minutes(12, 0),
	monday - 1,
]

test_office_hours if {
	every at in open { verdict(clerk(at, 600)).allow == true }
	every at in closed {
		result := verdict(clerk(at, 600))
		result.allow == false
		result.reasons == ["household.sign_in_again"]
		result.obligations == {"step_up": {"aal": 3, "max_age_seconds": 120}}
	}
}

test_step_up_opens_at_any_hour if {
	every at in closed {
		verdict(clerk(at, 120)).allow == true
		verdict(clerk(at, 121)).allow == false
	}
}

test_duties if {
	verdict(clerk(open[0], 1)).obligations == {
		"extra_logging": true,
		"max_response_bytes": 1048576,
		"read_only": true,
		"recheck_seconds": 30,
	}
}

refusals := [
	[{"/assertion/aal": 2, "/agreement/assertion/aal": 2}, "household.sign_in_too_weak"],
	[{"/assertion/bound_by": "none", "/agreement/assertion/proof": "optional"}, "household.key_not_held"],
	[{"/device/tpm_tier": "none"}, "household.machine_unfit"],
	[{"/device/health_tier": "contraindicated"}, "household.machine_unfit"],
	[{"/device/binding": "software"}, "household.machine_unfit"],
	[{"/device": null}, "household.machine_unfit"],
]

test_refuses if {
	every refusal in refusals {
		result := verdict(changed(clerk(open[0], 60), refusal[0]))
		result.allow == false
		refusal[1] in result.reasons
		verdict(changed(clerk(open[0], 60), changes_of_class(refusal[0]))).allow == true
	}
}

changes_of_class(changes) := object.union(changes, {"/agreement/class": "general"})

test_refuses_without_user if {
	alone := changed(clerk(open[0], 60), {"/assertion": null, "/agreement/assertion": "none"})
	"household.user_required" in verdict(alone).reasons
}

test_stronger_sign_in_is_asked_for if {
	weak := changed(clerk(closed[0], 60), {"/assertion/aal": 2, "/agreement/assertion/aal": 2})
	verdict(weak).obligations == {"step_up": {"aal": 3, "max_age_seconds": 900}}
	older := changed(clerk(closed[0], 600), {"/assertion/aal": 2, "/agreement/assertion/aal": 2})
	verdict(older).obligations == {"step_up": {"aal": 3, "max_age_seconds": 120}}
}

# An authentication time that is no number is no authentication.
test_just_signed_in_wants_a_number if {
	not household.just_signed_in with input as {"now_ms": 1, "assertion": {"auth_time_ms": null}}
}
