# METADATA
# title: Household register
# description: >-
#   A person, signed in with AAL3 and holding the key, on a machine that is bound and healthy. In office hours what the
#   agreement asks for is enough; at any other time the person has to have signed in just now (step-up).
# schemas:
#   - input: schema.input
package agency.household

# METADATA
# title: Is it an exchange of this class?
applies if input.agreement.class == "household"

# METADATA
# title: What is not as it must be
refusals contains "household.user_required" if {
	applies
	not is_object(input.assertion)
}

refusals contains "household.sign_in_too_weak" if {
	applies
	is_object(input.assertion)
	not strong
}

refusals contains "household.key_not_held" if {
	applies
	is_object(input.assertion)
	not bound
}

refusals contains "household.machine_unfit" if {
	applies
	not machine_fit
}

refusals contains "household.sign_in_again" if {
	applies
	is_object(input.assertion)
	not office_hours
	not just_signed_in
}

# METADATA
# title: AAL3
strong if {
	is_number(input.assertion.aal)
	input.assertion.aal >= 3
}

# METADATA
# title: Did the sender prove to hold the assertion's key?
bound if input.assertion.bound_by in {"certificate", "dpop"}

# METADATA
# title: Is the machine attested, bound to this connection, and looked after?
machine_fit if {
	input.device.tpm_tier in data.household.tiers
	input.device.health_tier in data.household.tiers
	input.device.binding in data.household.bindings
}

# METADATA
# title: Are offices open?
# description: >-
#   Taiwan has one time zone, eight hours before UTC, and no summer time. 1970 began on a Thursday: three days later the
#   remainder counts from Monday.
office_hours if {
	local_ms := input.now_ms + (8 * hour_ms)
	day := ((local_ms + (3 * day_ms)) % (7 * day_ms)) - (local_ms % day_ms)
	day < data.household.office.days * day_ms
	local_ms % day_ms >= data.household.office.from_minute * minute_ms
	local_ms % day_ms < data.household.office.until_minute * minute_ms
}

# METADATA
# title: Has the person signed in just now?
just_signed_in if {
	is_number(input.assertion.auth_time_ms)
	input.now_ms - input.assertion.auth_time_ms <= data.household.just_now_seconds * 1000
}

# METADATA
# title: Milliseconds
minute_ms := 60000

# METADATA
# title: Milliseconds
hour_ms := 3600000

# METADATA
# title: Milliseconds
day_ms := 86400000

# METADATA
# title: What the person could do about it
step_ups["household.sign_in_too_weak"] := {"aal": 3, "max_age_seconds": 900}

step_ups["household.sign_in_again"] := {"aal": 3, "max_age_seconds": data.household.just_now_seconds}

# METADATA
# title: Little at a time, looked at often, and noted
duties["max_response_bytes"] := data.household.max_response_bytes if applies

duties["recheck_seconds"] := data.household.recheck_seconds if applies

duties["extra_logging"] if applies

duties["read_only"] if applies
