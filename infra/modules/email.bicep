// Mails: Communication Services with a domain and a sender, and the topic of its delivery reports.

param name string
param tags object
param principalId string

@description('A domain of yours, such as mail.example.com. Empty: one of Azure\'s, which sends 5 mails a minute and 10 an hour.')
param domain string

@description('Whether the domain\'s records are in DNS and Azure has seen them. Until then it cannot be linked, and mails wait.')
param domainVerified bool

param senderName string

@allowed([
  'Europe'
  'United States'
])
param dataLocation string

var mailOwner = '09976791-48a7-449e-bb21-39d1a415f350'
var managed = empty(domain)

resource service 'Microsoft.Communication/emailServices@2023-04-01' = {
  name: '${name}-mail'
  location: 'global'
  tags: tags
  properties: {
    dataLocation: dataLocation
  }
}

resource mailDomain 'Microsoft.Communication/emailServices/domains@2023-04-01' = {
  parent: service
  name: managed ? 'AzureManagedDomain' : domain
  location: 'global'
  tags: tags
  properties: {
    domainManagement: managed ? 'AzureManaged' : 'CustomerManaged'
    userEngagementTracking: 'Disabled'
  }
}

// Azure's own domain has one sender, DoNotReply, and takes no other.
resource sender 'Microsoft.Communication/emailServices/domains/senderUsernames@2023-04-01' = if (!managed) {
  parent: mailDomain
  name: senderName
  properties: {
    username: senderName
    displayName: 'Huntaze'
  }
}

resource communication 'Microsoft.Communication/communicationServices@2025-09-01' = {
  name: '${name}-acs'
  location: 'global'
  tags: tags
  properties: {
    dataLocation: dataLocation
    disableLocalAuth: true
    linkedDomains: managed || domainVerified ? [
      mailDomain.id
    ] : []
  }
}

// There is no built-in role that may only send.
resource sends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(communication.id, principalId, mailOwner)
  scope: communication
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', mailOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource reports 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: '${name}-mail-reports'
  location: 'global'
  tags: tags
  properties: {
    source: communication.id
    topicType: 'Microsoft.Communication.CommunicationServices'
  }
}

output endpoint string = 'https://${communication.properties.hostName}'
output from string = 'Huntaze <${managed ? 'DoNotReply' : senderName}@${mailDomain.properties.fromSenderDomain}>'
output domainId string = mailDomain.id
output reportsTopic string = reports.name
