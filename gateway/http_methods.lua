-- Refuses a method that a path does not accept (405), and a JSON body with another media type
-- (415). `PATHS` above is generated from the contract: a pattern for each path, and its methods.

local VARIABLE = "[^/:]+"

-- A path without variables is another resource than a path with variables that it matches:
-- `/accounts/clients` names no account.
local function allowed_methods(path)
  local found = {}
  for pattern, methods in pairs(PATHS) do
    if path:match(pattern) then
      local is_literal = not pattern:find(VARIABLE, 1, true)
      if is_literal then found = {} end
      for _, method in ipairs(methods) do found[method] = true end
      if is_literal then break end
    end
  end
  -- `http_compat.lua` turns HEAD into GET.
  if found.GET then found.HEAD = true end
  return found
end

local function listed(methods)
  local names = {}
  for name in pairs(methods) do table.insert(names, name) end
  table.sort(names)
  return table.concat(names, ", ")
end

-- Routes without a JSON body have no such metadata. Clients may leave the media type out.
local function has_wrong_type(handle)
  local headers = handle:headers()
  local media_type = headers:get("content-type")
  if not media_type or not handle:metadata():get("is_json") then return false end
  local is_empty = not headers:get("transfer-encoding")
    and (headers:get("content-length") or "0") == "0"
  media_type = media_type:lower():match("^%s*([^;%s]*)")
  return not is_empty and media_type ~= "application/json"
    and not media_type:match("^application/[%w.%-]+%+json$")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if (headers:get("content-type") or ""):sub(1, 16) == "application/grpc" then return end
  -- The transcoder ignores trailing slashes.
  local path = headers:get(":path"):match("^[^?]*"):gsub("(.)/+$", "%1")
  local methods = allowed_methods(path)
  if next(methods) and not methods[headers:get(":method")] then
    handle:respond({ [":status"] = "405", ["allow"] = listed(methods) }, "")
  elseif has_wrong_type(handle) then
    handle:respond({ [":status"] = "415" }, "")
  end
end
