// The ledger. The hub signs in with a password, which is in the vault alone.

param location string
param name string
param tags object
param administratorLogin string

@secure()
param administratorPassword string

@description('Standard_B1ms and the like are Burstable, Standard_D2ds_v5 and the like GeneralPurpose.')
param sku string

@allowed([
  'Burstable'
  'GeneralPurpose'
])
param tier string

param storageGb int
param backupDays int

@description('A second server in another zone that takes over by itself. Not for Burstable.')
param highAvailability bool

@description('A copy of the backups in the paired region. Cannot be changed afterwards.')
param geoRedundantBackup bool

param publicNetworkAccess string
param workspaceId string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: tier
  }
  properties: {
    version: '16'
    administratorLogin: administratorLogin
    administratorLoginPassword: administratorPassword
    storage: {
      storageSizeGB: storageGb
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: backupDays
      geoRedundantBackup: geoRedundantBackup ? 'Enabled' : 'Disabled'
    }
    highAvailability: {
      mode: highAvailability ? 'ZoneRedundant' : 'Disabled'
    }
    network: {
      publicNetworkAccess: publicNetworkAccess
    }
    authConfig: {
      activeDirectoryAuth: 'Disabled'
      passwordAuth: 'Enabled'
    }
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = {
  parent: server
  name: 'huntaze'
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
}

// These two addresses stand for every service inside Azure: the plan has no address of its own.
resource azure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (publicNetworkAccess == 'Enabled') {
  parent: server
  name: 'azure-services'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [
    database
  ]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'PostgreSQLLogs'
        enabled: true
      }
    ]
  }
}

output id string = server.id
output name string = server.name
output host string = server.properties.fullyQualifiedDomainName
