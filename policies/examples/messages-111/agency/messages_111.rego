# METADATA
# title: Short messages from 111
# description: >-
#   111 is the short code of the government: who gets such a message believes it. So an agency sends in its own name only,
#   /SENDER/RECIPIENT, and only to what can be a mobile number.
# schemas:
#   - input: schema.input
package agency.messages_111

# METADATA
# title: Is it an exchange of this class?
applies if input.agreement.class == "messages"

# METADATA
# title: Sender and recipient that the path names
asked := {"sender": sender, "recipient": recipient} if {
	["", sender, recipient] = split(input.request.path, "/")
}

# METADATA
# title: What is not as it must be
refusals contains "messages.sender_foreign" if {
	applies
	not own_name
}

refusals contains "messages.recipient_malformed" if {
	applies
	not mobile_number
}

refusals contains "messages.text_too_long" if {
	applies
	not short
}

refusals contains "messages.recipients_scanned" if {
	applies
	not orderly
}

# METADATA
# title: Does the agency send in its own name?
# description: >-
#   The name belongs to the member whose subsystem asks, which admission has proved.
own_name if {
	parts := split(input.request.client, "/")
	data.messages_111.senders[asked.sender] == concat("/", array.slice(parts, 0, 3))
}

# METADATA
# title: Is the recipient a mobile number?
# description: >-
#   09 and eight digits, nothing else: no country code, no separators, so that a recipient has one spelling in the log.
mobile_number if {
	count(asked.recipient) == 10
	startswith(asked.recipient, "09")
	every character in split(asked.recipient, "") { character in data.messages_111.digits }
}

# METADATA
# title: Is it short, and does it say so beforehand?
short if {
	is_number(input.request.content_length)
	input.request.content_length <= data.messages_111.max_text_bytes
}

# METADATA
# title: Have few of the caller's requests been refused lately?
# description: >-
#   Somebody who tries numbers out is refused often.
orderly if input.signals.refusals <= data.messages_111.max_refusals

# METADATA
# title: The text is what was announced, and every message is noted
duties["max_request_bytes"] := data.messages_111.max_text_bytes if applies

duties["extra_logging"] if applies
