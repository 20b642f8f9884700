# METADATA
# title: Exchange admission
# description: >-
#   May this exchange happen? Both gateways ask, each from what it has proved itself. Everything is a refusal until each
#   helper below holds: reasons come from negated helpers, so that a field nobody filled in refuses instead of dropping
#   out of a comparison.
# schemas:
#   - input: schema.input
#   - data.classes: schema.classes
package troad.admission

import data.troad.devices
import data.troad.path

# METADATA
# title: May it happen at all?
default admitted := false

admitted if count(unmet) == 0

# METADATA
# title: Why it may not
# description: >-
#   One cause hides those that only follow from it. Display only: admitted looks at unmet.
reasons := ["admission.input_malformed"] if {
	"admission.input_malformed" in unmet
} else := ["admission.agreement_missing"] if {
	"admission.agreement_missing" in unmet
} else := sort(unmet)

# METADATA
# title: What is not as it must be, one code each
unmet contains "admission.input_malformed" if not well_formed

unmet contains "admission.caller_unproved" if not caller_proved

unmet contains "admission.service_foreign" if not service_of_provider

unmet contains "admission.path_ambiguous" if not path.plain(input.request.path)

unmet contains "admission.agreement_missing" if not agreement_named

unmet contains "admission.consumer_not_agreed" if not consumer_agreed

unmet contains "admission.service_not_agreed" if not service_agreed

unmet contains "admission.method_not_agreed" if not method_agreed

unmet contains "admission.path_not_agreed" if not path_agreed

unmet contains "admission.not_yet_in_force" if not begun

unmet contains "admission.no_longer_in_force" if not unended

unmet contains "admission.not_enabled_by_provider" if not enabled_by_provider

unmet contains "admission.not_enabled_by_consumer" if not enabled_by_consumer

unmet contains "admission.class_unknown" if not class_known

unmet contains "admission.assertion_required" if not assertion_presented

unmet contains "admission.assertion_foreign" if not assertion_of_member

unmet contains "admission.identity_too_weak" if not identity_proved

unmet contains "admission.authentication_too_weak" if not authenticator_strong

unmet contains "admission.authentication_too_old" if not authenticated_lately

unmet contains "admission.federation_too_weak" if not assertion_protected

unmet contains "admission.possession_unproved" if not possession_proved

unmet contains "admission.device_required" if not device_presented

unmet contains "admission.device_expired" if not device_current

unmet contains "admission.device_too_weak" if not device_booted

unmet contains "admission.device_unhealthy" if not device_healthy

unmet contains "admission.device_unbound" if not device_held

unmet contains "admission.node_required" if not node_presented

unmet contains "admission.node_expired" if not node_current

unmet contains "admission.node_too_weak" if not node_booted

unmet contains "admission.node_unhealthy" if not node_healthy

unmet contains "admission.node_unbound" if not node_held

# --- Who asks, and whom

# METADATA
# title: Has the caller been proved?
# description: >-
#   At the consumer's gateway the caller is a local system, shown in the way the agency has configured for that subsystem.
#   `https` (no client certificate) is the weakest: it rests on who can reach the listener. An agency that wants more takes
#   it out of this set.
caller_proved if {
	input.role == "consumer"
	input.peer == null
	input.client_system.method in {"loopback", "https", "mtls"}
	input.client_system.subsystem == input.request.client
}

# At the provider's gateway it is the peer gateway, which speaks for subsystems of its own member only.
caller_proved if {
	input.role == "provider"
	input.client_system == null
	parts := split(input.request.client, "/")
	count(parts) == 4
	input.peer.member == concat("/", array.slice(parts, 0, 3))
}

# METADATA
# title: Is it a service of the provider asked?
service_of_provider if {
	parts := split(input.request.service, "/")
	count(parts) == 5
	input.request.provider_member == concat("/", array.slice(parts, 0, 3))
}

# --- What the two sides agreed

# METADATA
# title: Is there an agreement?
agreement_named if {
	is_string(input.agreement.id)
	input.agreement.id != ""
}

# METADATA
# title: Does it name this consumer?
# description: >-
#   Two nulls would be equal, but request_well_formed wants strings on the right.
consumer_agreed if input.agreement.consumer == input.request.client

# METADATA
# title: Does it name this service?
service_agreed if input.agreement.service == input.request.service

# METADATA
# title: Does it name this method?
method_agreed if "*" in input.agreement.methods

# Methods are case-sensitive (RFC 9110 §9.1).
method_agreed if input.request.method in input.agreement.methods

# METADATA
# title: Does it name this path?
path_agreed if {
	some pattern in input.agreement.paths
	path.covers(pattern, input.request.path)
}

# METADATA
# title: Is it in force already?
# description: >-
#   Rego orders values of different types (null < true < 1 < "1"), so a null beginning would lie before every moment and
#   an end that is text after it.
begun if {
	is_number(input.agreement.from_ms)
	input.agreement.from_ms <= input.now_ms
}

# METADATA
# title: Is it in force still?
# description: >-
#   The moment of the end is outside.
unended if {
	is_number(input.agreement.until_ms)
	input.now_ms < input.agreement.until_ms
}

# METADATA
# title: Has the provider switched it on?
enabled_by_provider if input.agreement.enabled_by_provider == true

# METADATA
# title: Has the consumer switched it on?
enabled_by_consumer if input.agreement.enabled_by_consumer == true

# METADATA
# title: Is there a threshold for its class?
# description: >-
#   A class without a threshold would be one that everybody reaches.
class_known if data.classes[input.agreement.class]

# --- What the agreement demands beyond that

# METADATA
# title: Does it do without a user?
# description: >-
#   Systems talk without a user, and from machines nobody attested, only where the agreement says "none" in as many words.
#   What was presented although nothing was demanded is still weighed by assertion_of_member.
no_user if input.agreement.assertion == "none"

# METADATA
# title: Was an assertion presented where one is demanded?
assertion_presented if no_user

assertion_presented if {
	is_object(input.assertion)
	is_object(input.agreement.assertion)
}

# METADATA
# title: Does its issuer speak about this consumer's users?
# description: >-
#   An issuer speaks about the users of one member: that of the consumer.
assertion_of_member if input.assertion == null

assertion_of_member if {
	parts := split(input.request.client, "/")
	input.assertion.member == concat("/", array.slice(parts, 0, 3))
}

# METADATA
# title: Is there nothing to compare?
# description: >-
#   Where there is nothing to compare, assertion_presented has the say: one cause gives one reason. Numbers are compared with numbers: Rego would order 3 before "2".
unasked if input.assertion == null

unasked if not is_object(input.agreement.assertion)

# METADATA
# title: IAL
identity_proved if unasked

identity_proved if at_least(input.assertion.ial, input.agreement.assertion.ial)

# METADATA
# title: AAL
authenticator_strong if unasked

authenticator_strong if at_least(input.assertion.aal, input.agreement.assertion.aal)

# METADATA
# title: FAL
assertion_protected if unasked

assertion_protected if at_least(input.assertion.fal, input.agreement.assertion.fal)

# METADATA
# title: A number that reaches another
at_least(shown, demanded) if {
	is_number(shown)
	is_number(demanded)
	shown >= demanded
}

# METADATA
# title: Time since the user authenticated
authenticated_lately if unasked

# A clock that runs ahead of ours may make it negative; the gateway has refused what is too far in the future.
authenticated_lately if {
	is_number(input.assertion.auth_time_ms)
	is_number(input.agreement.assertion.max_age_seconds)
	input.now_ms - input.assertion.auth_time_ms <= input.agreement.assertion.max_age_seconds * 1000
}

# METADATA
# title: Proof of possession
possession_proved if unasked

possession_proved if input.agreement.assertion.proof == "optional"

possession_proved if {
	input.agreement.assertion.proof == "required"
	input.assertion.bound_by in {"certificate", "dpop"}
}

# METADATA
# title: Was an endpoint presented where one is demanded?
# description: >-
#   The endpoint is the machine that the user or client system sits on; the node is the host of the peer gateway. An
#   agreement that neither says "none" nor what it wants is met by nothing.
device_presented if input.agreement.device == "none"

device_presented if {
	is_object(input.agreement.device)
	input.agreement.device.endpoint == null
}

device_presented if {
	is_object(input.agreement.device)
	is_object(input.device)
}

# METADATA
# title: Does its result still count?
# description: >-
#   Nobody needs to show a machine where none is demanded; but nobody shows one that has expired.
device_current if input.device == null

device_current if devices.current(input.device, input.now_ms)

# METADATA
# title: Is there nothing to measure?
# description: >-
#   Where there is nothing to measure, device_presented has the say.
device_unasked if input.device == null

device_unasked if not is_object(input.agreement.device)

device_unasked if input.agreement.device.endpoint == null

# METADATA
# title: Did it boot as demanded?
device_booted if device_unasked

device_booted if devices.booted(input.device, input.agreement.device.endpoint)

# METADATA
# title: Is it as healthy as demanded?
device_healthy if device_unasked

device_healthy if devices.healthy(input.device, input.agreement.device.endpoint)

# METADATA
# title: Does the connection hang on its TPM as demanded?
device_held if device_unasked

device_held if devices.held(input.device, input.agreement.device.endpoint)

# METADATA
# title: Was the host of the peer presented where it is demanded?
# description: >-
#   A demand in another word is told once, by device_presented.
node_presented if not is_object(input.agreement.device)

node_presented if input.agreement.device.node == null

node_presented if is_object(input.node)

# METADATA
# title: Does its result still count?
node_current if input.node == null

node_current if devices.current(input.node, input.now_ms)

# METADATA
# title: Is there nothing to measure?
node_unasked if input.node == null

node_unasked if not is_object(input.agreement.device)

node_unasked if input.agreement.device.node == null

# METADATA
# title: Did it boot as demanded?
node_booted if node_unasked

node_booted if devices.booted(input.node, input.agreement.device.node)

# METADATA
# title: Is it as healthy as demanded?
node_healthy if node_unasked

node_healthy if devices.healthy(input.node, input.agreement.device.node)

# METADATA
# title: Does the connection hang on its TPM as demanded?
node_held if node_unasked

node_held if devices.held(input.node, input.agreement.device.node)

# --- The input is exactly what this policy weighs

# METADATA
# title: Is the input exactly what this policy weighs?
# description: >-
#   Closed: a field this policy does not know is a fact it would silently ignore. Here and below each member is asked
#   for by name, so that as many members are these and no others (comparing sets of names costs more).
well_formed if {
	count(input) == 12
	is_string(input.decision_id)
	input.decision_id != ""
	is_number(input.now_ms)
	input.role in {"consumer", "provider"}
	machine_well_formed(input.device)
	machine_well_formed(input.node)
	assertion_well_formed
	request_well_formed
	peer_well_formed
	client_system_well_formed
	agreement_well_formed
	signals_well_formed
	threat_well_formed
}

# METADATA
# title: The request
request_well_formed if {
	count(input.request) == 6
	is_string(input.request.client)
	is_string(input.request.method)
	is_string(input.request.path)
	is_string(input.request.provider_member)
	is_string(input.request.service)
	content_length_well_formed
}

# METADATA
# title: Its length
# description: >-
#   null: not announced (the end is marked in the stream).
content_length_well_formed if input.request.content_length == null

content_length_well_formed if {
	is_number(input.request.content_length)
	input.request.content_length >= 0
}

# METADATA
# title: The user assertion
assertion_well_formed if input.assertion == null

assertion_well_formed if {
	count(input.assertion) == 9
	is_number(input.assertion.aal)
	is_string(input.assertion.acr)
	is_array(input.assertion.amr)
	is_number(input.assertion.auth_time_ms)
	input.assertion.bound_by in {"certificate", "dpop", "none"}
	is_number(input.assertion.fal)
	is_number(input.assertion.ial)
	is_string(input.assertion.issuer)
	is_string(input.assertion.member)
	every method in input.assertion.amr { is_string(method) }
}

# METADATA
# title: A machine
# description: >-
#   null: nothing was presented.
machine_well_formed(null)

machine_well_formed(machine) if devices.well_formed(machine)

# METADATA
# title: The peer
peer_well_formed if input.peer == null

peer_well_formed if {
	count(input.peer) == 2
	is_string(input.peer.gateway)
	is_string(input.peer.member)
}

# METADATA
# title: The client system
client_system_well_formed if input.client_system == null

client_system_well_formed if {
	count(input.client_system) == 2
	is_string(input.client_system.method)
	is_string(input.client_system.subsystem)
}

# METADATA
# title: The agreement
# description: >-
#   null is well-formed, and refused as agreement_missing.
agreement_well_formed if input.agreement == null

agreement_well_formed if {
	object.keys(input.agreement) == {
		"assertion", "class", "consumer", "device", "enabled_by_consumer", "enabled_by_provider",
		"from_ms", "id", "methods", "paths", "service", "until_ms",
	}
	is_array(input.agreement.methods)
	is_array(input.agreement.paths)
	every method in input.agreement.methods { is_string(method) }
	every pattern in input.agreement.paths { is_string(pattern) }
	demand_well_formed
	device_demand_well_formed
}

# METADATA
# title: Its demand on the user
# description: >-
#   Any word is well-formed, and "none" the only one that is met.
demand_well_formed if not is_object(input.agreement.assertion)

demand_well_formed if {
	object.keys(input.agreement.assertion) == {"aal", "fal", "ial", "max_age_seconds", "proof"}
}

# METADATA
# title: Its demand on machines
device_demand_well_formed if not is_object(input.agreement.device)

device_demand_well_formed if {
	object.keys(input.agreement.device) == {"endpoint", "node"}
	minimum_well_formed(input.agreement.device.endpoint)
	minimum_well_formed(input.agreement.device.node)
}

# METADATA
# title: The least it wants of one
minimum_well_formed(null)

minimum_well_formed(minimum) if devices.minimum_well_formed(minimum)

# METADATA
# title: What is unusual
signals_well_formed if {
	count(input.signals) == 6
	input.signals.address in {"known", "new"}
	input.signals.device in {"known", "new", null}
	input.signals.hour in {"usual", "unusual", null}
	is_number(input.signals.refusals)
	number_or_null(input.signals.rate_percent)
	number_or_null(input.signals.volume_percent)
}

# METADATA
# title: A number, or none
# description: >-
#   null: nobody knows.
number_or_null(null)

number_or_null(number) if is_number(number)

# METADATA
# title: What threat feeds say
# description: >-
#   null: the gateway has no threat feeds.
threat_well_formed if input.threat == null

threat_well_formed if {
	count(input.threat) == 4
	is_number(input.threat.kev)
	every name in ["age_hours", "cvss_tenths", "epss_permille"] { number_or_null(input.threat[name]) }
}
