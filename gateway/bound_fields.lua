-- Refuses a query parameter that names a field that the path binds: the transcoder would let it
-- override the path. Runs after the transcoder, so that the rpc is known. `BOUND_FIELDS` above
-- maps the path of each rpc to such fields; it is generated from the contract.

local function unescape(name)
  return (name:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

-- The transcoder accepts a field's name in snake_case and camelCase.
local function normalized(name)
  return (unescape(name):gsub("_", ""):lower())
end

-- Whether one name is the other, or a message that contains it.
local function overlap(one, other)
  one, other = one .. ".", other .. "."
  local length = math.min(#one, #other)
  return one:sub(1, length) == other:sub(1, length)
end

function envoy_on_request(handle)
  local fields = BOUND_FIELDS[handle:headers():get(":path")]
  local original = handle:headers():get("x-envoy-original-path")
  local query = fields and original and original:match("%?(.*)")
  if not query then return end
  for name in query:gmatch("[^&=]+=?[^&]*") do
    name = name:match("^[^=]*")
    for _, field in ipairs(fields) do
      if overlap(normalized(name), normalized(field)) then
        local text = "The path sets " .. field .. "; remove it from the query."
        handle:respond({ [":status"] = "400" }, text)
        return
      end
    end
  end
end
