# How many a second? The connections that were accepted in each second, and how many of them had a reply.
#
#   jq -nRrf rate.jq /var/log/upcase.log
#   journalctl -u 'upcase*' -o cat | jq -nRrf rate.jq

# A line that was cut is skipped.
reduce (inputs | fromjson? | objects | select(.outcome)) as $line ({};
    .[$line.time[:19]] |= {
        all: ((.all // 0) + 1),
        replied: ((.replied // 0) + if $line.outcome == "replied" then 1 else 0 end)
    })
| to_entries | sort_by(.key)[]
| "\(.key) connections \(.value.all), replied \(.value.replied)"
