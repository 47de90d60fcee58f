// A server that a backup was restored to. To ask where it is ends the deployment where there is none:
// an empty one would be made under that name otherwise, and the hub put onto it.

param name string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' existing = {
  name: name
}

output name string = server.name
output location string = server.location
